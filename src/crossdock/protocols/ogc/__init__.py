"""OGC API - Processes 1.0, our native HTTP API, with its clients and its worker link."""
