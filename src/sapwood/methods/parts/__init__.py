"""What several methods are made of: phases of training, cycles of pruning, controls."""
