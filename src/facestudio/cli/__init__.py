"""The command line: read the words, call the library, print and save what comes back."""
