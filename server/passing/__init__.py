"""Routes whose requests and answers pass as bytes: what a client sends is read only as far as its model's name."""
