"""Files: written whole or not at all, and read with a sentence on what is wrong with them."""

from netsmith.files.reading import check_regular, check_values, parse_json, read_bytes, read_json, read_text, read_toml
from netsmith.files.writing import (
    check_name,
    check_place,
    digest_file,
    open_temporary,
    replacing,
    same_file,
    to_json,
    to_path,
    write_atomic,
    written_for,
)

__all__ = [
    "check_name", "check_place", "check_regular", "check_values", "digest_file", "open_temporary", "parse_json",
    "read_bytes", "read_json", "read_text", "read_toml", "replacing", "same_file", "to_json", "to_path",
    "write_atomic", "written_for",
]  # fmt: skip
