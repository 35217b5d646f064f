"""What this machine can do at most: product rate and read bandwidth, beside which figures stand.

python benchmarks/limits.py
"""

import statistics
import time

import torch

from ownlm import runtime


def product_rate(dtype: torch.dtype, size: int = 4096, repeats: int = 5) -> float:
    """Operations a second of torch's square matrix product, median of `repeats`."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    torch.mm(a, b)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds)


def read_bandwidth(megabytes: int = 512, repeats: int = 7) -> float:
    """Bytes a second of summing an array that no cache holds, median of `repeats`."""
    data = torch.ones(megabytes << 18)  # float32: 4 bytes each
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        data.sum()
        seconds.append(time.perf_counter() - start)
    return data.numel() * data.element_size() / statistics.median(seconds)


def main() -> None:
    """Print the limits of this machine."""
    runtime.settle_memory()
    torch.set_num_threads(runtime.core_count())
    print(runtime.describe(torch.device("cpu")))
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        print(f"product {name}: {product_rate(dtype) / 1e12:.2f} TFLOP/s")
    print(f"read: {read_bandwidth() / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
