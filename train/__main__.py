"""`python -m train`: the training commands."""

from train.cli import main

if __name__ == "__main__":
    main()
