"""Records: the time that training takes to a loss."""
