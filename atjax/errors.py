"""What a user can cause and mend."""


class UserError(Exception):
    """A fault in what the user gave: one sentence that says what is wrong and what to do.

    Command-line programs print the sentence and end with exit code 2, without a traceback.
    """
