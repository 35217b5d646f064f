"""Models behind OpenAI's interface, and pages for the browser."""
