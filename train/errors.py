"""The errors that a user of the training commands can cause and mend."""


class TrainingError(Exception):
    """A fault of data, files or settings; its text says what to do, and needs no traceback."""


class DataError(TrainingError):
    """Pictures or folders that cannot be used as they are."""


class WeightsError(TrainingError):
    """Weights that do not fit the network they are meant for."""
