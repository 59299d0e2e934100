"""Layer plans: which blocks can go, what that costs on text that chose nothing, and a network without them."""
