"""What every loop shares: what is drawn, steps of the optimiser, the state on disk, the log."""
