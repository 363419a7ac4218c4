"""`python -m syntrial`."""

from syntrial.cli import main

if __name__ == "__main__":
    main()
