"""Each test's docstring is the behaviour it holds the program to."""
