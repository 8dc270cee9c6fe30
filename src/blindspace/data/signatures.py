"""The first bytes by which kinds of files are recognised: pictures, files that may hold pictures, and sound.

A signature is an offset, the bytes that stand there, and what the file is then, as a noun phrase.
"""

from __future__ import annotations

Signature = tuple[int, bytes, str]

PICTURES: tuple[Signature, ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF87a", "a GIF picture"),
    (0, b"GIF89a", "a GIF picture"),
    (8, b"WEBPVP8", "a WebP picture"),
    (0, b"II*\0", "a TIFF or camera raw picture"),
    (0, b"MM\0*", "a TIFF or camera raw picture"),
    (0, b"II+\0", "a TIFF picture"),
    (0, b"MM\0+", "a TIFF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF animation"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC animation"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypmsf1", "a HEIF animation"),
    (4, b"ftypcrx ", "a camera raw picture"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"II\xbc", "a JPEG XR picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"#?RGBE", "a Radiance HDR picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"gimp xcf", "a GIMP picture"),
    (0, b"farbfeld", "a farbfeld picture"),
    (0, b"BPG\xfb", "a BPG picture"),
    (0, b"FLIF", "a FLIF picture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"P7\n", "a PAM picture"),
    (0, b"\xabKTX ", "a KTX texture"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw picture"),
    (0, b"IIRO", "a camera raw picture"),
    (0, b"IIRS", "a camera raw picture"),
    (0, b"IIU\0", "a camera raw picture"),
    (0, b"FOVb", "a camera raw picture"),
    (0, b"\0MRM", "a camera raw picture"),
    (0, b"AT&TFORM", "a DjVu picture"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (40, b" EMF\0\0\1\0", "an EMF drawing"),
    (0, b"%!PS-", "a PostScript drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (128, b"DICM", "a DICOM picture"),
    (344, b"n+1\0", "a NIfTI volume"),
    (0, b"NRRD000", "an NRRD volume"),
)
"""Pictures, whether or not a library to open them is installed."""

CONTAINERS: tuple[Signature, ...] = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file"),
    (0, b"\x1f\x9d", "a compress file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"PARE", "an encrypted Parquet table"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"\xff\xff\xff\xff", "an Arrow stream"),
    (0, b"FEA1", "a Feather file"),
    (0, b"ORC", "an ORC table"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (16, b"\xde\xc0\xef\xbe", "an LMDB database"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"CDF\x01", "a NetCDF file"),
    (0, b"CDF\x02", "a NetCDF file"),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\0\0\x08\x03", "an array in the format of MNIST"),
    (0, b"\x80\x02", "a pickle"),
    (0, b"\x80\x03", "a pickle"),
    (0, b"\x80\x04", "a pickle"),
    (0, b"\x80\x05", "a pickle"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document or a cache of thumbnails"),
    (4, b"ftyp", "a video"),
    (4, b"moov", "a video"),
    (4, b"mdat", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"\0\0\x01\xba", "a video"),
    (0, b"\0\0\x01\xb3", "a video"),
    (0, b"FLV\x01", "a video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video"),
    (0, b"OggS", "an Ogg file"),
)
"""Files inside which pictures may be stored."""

SOUND: tuple[Signature, ...] = (
    (8, b"WAVEfmt", "sound"),
    (0, b"fLaC", "sound"),
    (0, b"ID3", "sound"),
    (0, b"OggS\0\x02", "sound"),
    (4, b"ftypM4A", "sound"),
)
"""Sound, whose pictures of covers are not those of a collection."""


_WORD = 5
"""Signatures of fewer letters may begin a text too, such as ORC."""


def named_by(head: bytes, signatures: tuple[Signature, ...], least: int = 2) -> str | None:
    """What a file is that begins with these bytes, by the first signature that fits; None if none does.

    Args:
        head: The first bytes.
        signatures: The signatures to try.
        least: Smallest number of bytes of the signatures to try.
    """
    is_text = head.isascii() and not head.translate(None, _PRINTED)
    return next(
        (
            what
            for offset, magic, what in signatures
            if head[offset : offset + len(magic)] == magic
            and len(magic) >= least
            and not (is_text and len(magic) < _WORD)
        ),
        None,
    )


_PRINTED = bytes(range(32, 127)) + b"\t\n\r"
