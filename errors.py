"""The one exception that stands for a mistake of the user's, not of the program's."""


class InputError(ValueError):
    """Something given from outside (a flag, a file, an array) cannot be used; the message says what would be right.

    ``train.py`` prints it as one line on stderr and exits with code 2; anything else is a bug and keeps its traceback.
    """
