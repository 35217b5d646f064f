"""Judging predictions on labelled data: figures with intervals, baselines, mistakes, a page."""
