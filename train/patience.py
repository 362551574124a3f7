"""Early stop of a fit, as one that may be gone on with wants it."""

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


class Patience(EarlyStopping):
    """Stops after so many epochs without less validation loss; not where none was validated.

    It goes on with the patience that it is given now, not with that of the last run.
    """

    def __init__(self, epochs: int) -> None:
        """Wait for `epochs` epochs."""
        super().__init__("val_loss", patience=epochs, strict=False, verbose=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over all else: how long there was no gain, and the best value."""
        super().load_state_dict({**state_dict, "patience": self.patience})
