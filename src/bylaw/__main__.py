"""`python -m bylaw` is the `bylaw` command."""

from bylaw.cli import main

if __name__ == "__main__":
    main()
