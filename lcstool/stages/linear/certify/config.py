"""What `lcstool linear certify` is asked. No torch here."""

from dataclasses import dataclass

from lcstool.options import Config, file_argument


@dataclass(frozen=True, kw_only=True)
class CertifyConfig(Config):
    """One file, which is the argument."""

    file: str = file_argument("A file that `lcstool linear train` wrote.")
