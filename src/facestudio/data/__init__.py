"""Training data: reads pictures from their sources, words them, draws them, prepares them."""
