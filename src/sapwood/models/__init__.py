"""The reference networks, one file each."""
