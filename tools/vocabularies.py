"""Rebuild the vocabularies that ship with batchway from the npm package js-tiktoken.

    npm pack js-tiktoken@1.0.21
    python tools/vocabularies.py js-tiktoken-1.0.21.tgz src/batchway/data/vocabularies

A result is one token a line in base64, in the order of rank (the first line is rank 0), compressed with xz. The same
package gives the same tokens, byte for byte before compression; compressed, versions of liblzma may differ.
Before anything is written the tokens are proved to be OpenAI's own: put back into the form that OpenAI publishes, they
must have the SHA-256 that tiktoken itself demands of its download (`expected_hash` in tiktoken_ext/openai_public.py).
"""

import hashlib
import json
import lzma
import sys
import tarfile
from pathlib import Path

PACKAGE = "js-tiktoken 1.0.21 (npm, MIT)"
PUBLISHED = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
"""SHA-256 of OpenAI's published file, by encoding; the same in tiktoken 0.14.0."""


def read_tokens(package: tarfile.TarFile, encoding: str) -> list[str]:
    """The encoding's tokens in base64 in the order of rank, as the package holds them: `! FIRST_RANK TOKEN TOKEN …`."""
    member = package.extractfile(f"package/dist/ranks/{encoding}.js")
    if member is None:
        raise SystemExit(f"the package holds no ranks of {encoding}; expected {PACKAGE}")
    module = member.read().decode().removeprefix("export default ").rstrip(";\n")
    mark, first, *tokens = str(json.loads(module)["bpe_ranks"]).split(" ")
    if (mark, first) != ("!", "0"):
        raise SystemExit(f"the ranks of {encoding} do not start with '! 0' as in {PACKAGE}")
    return tokens


def check(encoding: str, tokens: list[str]) -> None:
    """Stop unless the tokens, in the form that OpenAI publishes (`TOKEN RANK` a line), are its own file."""
    published = "".join(f"{token} {rank}\n" for rank, token in enumerate(tokens)).encode()
    found = hashlib.sha256(published).hexdigest()
    if found != PUBLISHED[encoding]:
        raise SystemExit(f"{encoding}: SHA-256 is {found}, OpenAI's file has {PUBLISHED[encoding]}")


def write(package: Path, folder: Path) -> None:
    """Write every encoding of the package into the folder and print the SHA-256 of each file."""
    with tarfile.open(package) as archive:
        for encoding in PUBLISHED:
            tokens = read_tokens(archive, encoding)
            check(encoding, tokens)
            shipped = lzma.compress("\n".join(tokens).encode(), preset=9 | lzma.PRESET_EXTREME)
            (folder / f"{encoding}.xz").write_bytes(shipped)
            print(f"{encoding}.xz {len(shipped)} bytes, SHA-256 {hashlib.sha256(shipped).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]), Path(sys.argv[2]))
