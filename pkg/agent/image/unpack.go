package image

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// maxWindow is how far back a zstd stream may refer, and so how much memory it takes. zstd uses 8 MiB up to its level 19.
const maxWindow = 32 << 20

// Unpack is the image in a stream of a format. The caller closes it.
func Unpack(format protocol.Format, r io.Reader) (io.ReadCloser, error) {
	switch format {
	case protocol.FormatRaw:
		return io.NopCloser(r), nil
	case protocol.FormatRawZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case protocol.FormatRawGzip:
		return gzip.NewReader(bufio.NewReaderSize(r, 1<<16))
	case protocol.FormatRawXZ:
		// It reads byte by byte.
		x, err := xz.NewReader(bufio.NewReaderSize(r, 1<<16))
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	}
	return nil, fmt.Errorf("the format %q is not known", format)
}
