"""The exceptions that stand for a mistake of the user's, not of the program's."""


class InputError(ValueError):
    """Something given from outside (a flag, a file, an array) cannot be used; the message says what would be right.

    ``train.py`` prints it as one line on stderr and exits with code 2; anything else is a bug and keeps its traceback.
    """

    def shown(self):
        """The message as one line, whatever was given."""
        return str(self).replace("\r", "\\r").replace("\n", "\\n")


class FaultyModuleError(InputError):
    """A file of the user's cannot be imported; the message ends with the traceback."""

    def shown(self):
        return str(self)
