"""ReCodEx: evaluation jobs over ZeroMQ, as the brokers and workers of that system speak it."""
