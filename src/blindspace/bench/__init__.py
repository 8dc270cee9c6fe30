"""The bench: time, memory and accuracy, ours and other libraries'."""
