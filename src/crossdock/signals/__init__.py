"""Wake-ups: implementations of the ``Signals`` port."""
