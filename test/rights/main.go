package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/beskar7/beskar7/test/lab"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rights:", err)
		os.Exit(1)
	}
}

func run(logs []string) error {
	root, err := lab.Root("")
	if err != nil {
		return err
	}
	if len(logs) == 0 {
		for _, pattern := range []string{"out/demo/plane/logs/audit.log", "out/e2e/*/plane/logs/audit.log", "out/e2e/*.audit.log"} {
			found, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				return err
			}
			logs = append(logs, found...)
		}
	}
	if len(logs) == 0 {
		return errors.New("no audit log: run make demo or make e2e first, or name the logs")
	}
	grants, exceptions, err := shipped(root)
	if err != nil {
		return err
	}
	u := use{allowed: map[string]bool{}, refused: map[string]bool{}}
	for _, name := range logs {
		if err := readLog(&u, name); err != nil {
			return err
		}
	}
	if len(u.allowed) == 0 {
		return fmt.Errorf("the logs show nothing of %s", account)
	}
	wrong := judge(grants, u, exceptions)
	for _, line := range wrong {
		fmt.Println(line)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d differences between what is granted and what %d logs show", len(wrong), len(logs))
	}
	fmt.Printf("rights: %d granted, %d shown by %d logs, %d excepted with a reason\n", len(grants), len(u.allowed), len(logs), len(exceptions))
	return nil
}

func readLog(u *use, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return u.read(file)
}
