"""The server's side of OGC API - Processes: one module per group of resources."""
