"""The file that a trained model is: written, read, found."""
