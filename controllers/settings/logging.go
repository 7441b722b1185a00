package settings

import (
	"fmt"
	"io"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/beskar7/beskar7/pkg/config"
)

// newLogger makes the process's logger from log.*, which writes to out; the returned function changes its level.
func newLogger(s config.Log, out io.Writer) (logr.Logger, func(string), error) {
	level := zap.NewAtomicLevel()
	set := func(name string) {
		if l, err := zapcore.ParseLevel(name); err == nil {
			level.SetLevel(l)
		}
	}
	set(s.Level)
	encoding := zap.NewProductionEncoderConfig()
	if err := encoding.EncodeTime.UnmarshalText([]byte(s.TimeEncoding)); err != nil {
		return logr.Logger{}, nil, fmt.Errorf("log.timeEncoding: %w", err)
	}
	encoder := zapcore.NewJSONEncoder(encoding)
	if s.Format == "console" {
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	var options []zap.Option
	if l, err := zapcore.ParseLevel(s.StacktraceLevel); err == nil {
		options = append(options, zap.AddStacktrace(l))
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)
	return zapr.NewLogger(zap.New(core, options...)), set, nil
}
