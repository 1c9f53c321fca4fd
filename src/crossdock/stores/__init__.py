"""Where the broker's state is kept: implementations of the ``Store`` port."""
