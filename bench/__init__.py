"""``make bench``: throughput, latency, depth and memory, beside named peers in the same run."""
