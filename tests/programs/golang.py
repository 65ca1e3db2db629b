"""Programs built with Go's own toolchain: a runtime with threads, signals and call sites of its own.

Rows as in table.py. What is built once in a row is run there several times."""

# Without a module and a cache of somebody else's, and the same each time.
GO = "export GO111MODULE=off GOCACHE=$PWD/cache GOFLAGS=-trimpath GOTRACEBACK=single; "

SERVER = r"""
cat > main.go <<'E'
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func fetch() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, strings.Repeat(r.URL.Path, 1000))
	}))
	var group sync.WaitGroup
	var lock sync.Mutex
	total := 0
	for i := 0; i < 20; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := 0; j < 10; j++ {
				answer, err := http.Get("http://" + listener.Addr().String() + "/some/path")
				if err != nil {
					panic(err)
				}
				body, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				lock.Lock()
				total += len(body)
				lock.Unlock()
			}
		}()
	}
	group.Wait()
	fmt.Println("fetched", total)
}

func routines() {
	channel := make(chan int)
	sum := make(chan int)
	go func() {
		all := 0
		for value := range channel {
			all += value
		}
		sum <- all
	}()
	var group sync.WaitGroup
	for i := 0; i < 2000; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
			channel <- i
		}(i)
	}
	group.Wait()
	close(channel)
	fmt.Println("sum", <-sum)
}

func commands() {
	for i := 0; i < 10; i++ {
		command := exec.Command("tr", "a-z", "A-Z")
		command.Stdin = strings.NewReader("from go")
		out, err := command.Output()
		if string(out) != "FROM GO" || err != nil {
			panic(fmt.Sprint(string(out), err))
		}
	}
	err := exec.Command("sh", "-c", "exit 7").Run()
	fmt.Println(err)
	_, err = exec.Command("no-such-program").Output()
	fmt.Println(err)
}

func files() {
	for i := 0; i < 3000; i++ {
		if _, err := os.Stat("/etc/passwd"); err != nil {
			panic(err)
		}
	}
	if err := os.WriteFile("f", []byte("text"), 0640); err != nil {
		panic(err)
	}
	info, _ := os.Stat("f")
	text, _ := os.ReadFile("f")
	fmt.Println(info.Mode(), string(text))
	_, err := os.Open("missing")
	fmt.Println(err)
}

func signals() {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGUSR1)
	for i := 0; i < 100; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-arrived
	}
	fmt.Println("signals")
	defer func() { fmt.Println("recovered:", recover()) }()
	var nowhere *int
	*nowhere = 1
}

func deep(n int) int {
	if n == 0 {
		panic("the end")
	}
	return deep(n-1) + os.Getppid()
}

func main() {
	if len(os.Args) > 1 {
		deep(3)
	}
	routines()
	files()
	commands()
	signals()
	fetch()
}
E
go build -o program main.go && ./program; echo $?; GOMAXPROCS=1 ./program | md5sum; GOMAXPROCS=8 ./program | md5sum
./program panic 2>&1 | sed 's/0x[0-9a-f]*/X/g; s/+X$//'; echo ${PIPESTATUS[0]}
"""

# Not compared with a native run, which would build all of the library once more.
OUT = r"""sum 1999000
-rw-r----- text
open missing: no such file or directory
exit status 7
exec: "no-such-program": executable file not found in \$PATH
signals
recovered: runtime error: invalid memory address or nil pointer dereference
fetched 2000800
0
([0-9a-f]{32})  -
\1  -
panic: the end

goroutine 1 \[running\]:
(?:main\.deep\(X\??\)
	\./main\.go:\d+ ?
){4}main\.main\(\)
	\./main\.go:\d+ ?
2
"""

PROGRAMS = [
    ("go_program", GO + SERVER, {"needs": ["go"], "limit": 400, "out": OUT, "status": 0}),
]
