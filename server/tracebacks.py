"""What an exception holds once it has been dealt with."""


def let_go(error: BaseException) -> None:
    """Take the frames it has passed from an exception that has been dealt with, and from those it came of.

    One of them may know the exception, and all know the request: a circle that would hold its body and its answer until the
    collector comes by.
    """
    passed: BaseException | None = error
    while passed is not None:
        passed.__traceback__ = None
        passed = passed.__context__
