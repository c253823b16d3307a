// openloop posts transfers at a rate that does not depend on the answers, as many independent customers would, and tells by status
// how many were answered and how fast. It speaks HTTP/1.1 by hand over kept connections, so it costs a fraction of what the
// server costs. With -rate 0 each connection sends as soon as it has its answer.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	address     = flag.String("address", "127.0.0.1:8080", "where the server listens")
	key         = flag.String("key", "", "API key")
	rate        = flag.Float64("rate", 0, "requests a second over all connections; 0: as fast as they are answered")
	connections = flag.Int("connections", 64, "at once")
	seconds     = flag.Float64("seconds", 5, "that are measured")
	warm        = flag.Float64("warm", 1, "seconds before, which are not")
	first       = flag.Int("first", 1, "the first account")
	last        = flag.Int("last", 1000, "the last account")
)

// tally is what one connection saw: the milliseconds of each answer by status, and what had no answer.
type tally struct {
	tookMS map[int][]float64
	lost   int
}

type summary struct {
	Number int     `json:"number"`
	P50MS  float64 `json:"p50_ms"`
	P99MS  float64 `json:"p99_ms"`
}

func request(random *rand.Rand) []byte {
	from := *first + random.Intn(*last-*first+1)
	to := *first + random.Intn(*last-*first)
	if to >= from {
		to++
	}
	body := fmt.Sprintf(`{"from_account_id":%d,"to_account_id":%d,"amount":%d}`, from, to, 1+random.Intn(500))
	return []byte(fmt.Sprintf("POST /api/transfers HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", *address, *key, len(body), body))
}

// read takes one answer from the connection: its status, and whether the server will close afterwards.
func read(in *bufio.Reader) (status int, closes bool, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, true, err
	}
	if len(line) < 12 {
		return 0, true, io.ErrUnexpectedEOF
	}
	if status, err = strconv.Atoi(line[9:12]); err != nil {
		return 0, true, err
	}
	length := 0
	for {
		if line, err = in.ReadString('\n'); err != nil {
			return 0, true, err
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "":
			_, err = in.Discard(length)
			return status, closes, err
		case strings.EqualFold(name, "content-length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, true, err
			}
		case strings.EqualFold(name, "connection"):
			closes = strings.EqualFold(strings.TrimSpace(value), "close")
		}
	}
}

func run(number int, began time.Time, seen *tally) {
	random := rand.New(rand.NewSource(int64(number) + began.UnixNano()))
	measured := began.Add(time.Duration(*warm * float64(time.Second)))
	end := measured.Add(time.Duration(*seconds * float64(time.Second)))
	var pause time.Duration
	due := began
	if *rate > 0 {
		pause = time.Duration(float64(*connections) / *rate * float64(time.Second))
		due = began.Add(time.Duration(random.Float64() * float64(pause)))
	}
	var connection net.Conn
	var in *bufio.Reader
	for {
		time.Sleep(time.Until(due))
		now := time.Now()
		if now.After(end) {
			break
		}
		if due = due.Add(pause); due.Before(now) {
			due = now // what was due while the answer before was not there is not made up for
		}
		if connection == nil {
			var err error
			if connection, err = net.DialTimeout("tcp", *address, 5*time.Second); err != nil {
				connection = nil
				seen.lost++
				time.Sleep(50 * time.Millisecond)
				continue
			}
			in = bufio.NewReader(connection)
		}
		sent := time.Now()
		_ = connection.SetDeadline(sent.Add(40 * time.Second))
		_, err := connection.Write(request(random))
		status, closes := 0, true
		if err == nil {
			status, closes, err = read(in)
		}
		if answered := time.Now(); answered.After(measured) && answered.Before(end) {
			if err != nil {
				seen.lost++
			} else {
				seen.tookMS[status] = append(seen.tookMS[status], float64(answered.Sub(sent).Microseconds())/1000)
			}
		}
		if err != nil || closes {
			connection.Close()
			connection = nil
		}
	}
	if connection != nil {
		connection.Close()
	}
}

func main() {
	flag.Parse()
	seen := make([]tally, *connections)
	var all sync.WaitGroup
	began := time.Now().Add(100 * time.Millisecond)
	for number := range seen {
		seen[number].tookMS = map[int][]float64{}
		all.Add(1)
		go func(number int) {
			defer all.Done()
			run(number, began, &seen[number])
		}(number)
	}
	all.Wait()
	took, lost := map[int][]float64{}, 0
	for _, one := range seen {
		lost += one.lost
		for status, found := range one.tookMS {
			took[status] = append(took[status], found...)
		}
	}
	byStatus := map[string]summary{}
	for status, found := range took {
		sort.Float64s(found)
		byStatus[strconv.Itoa(status)] = summary{len(found), found[len(found)/2], found[len(found)*99/100]}
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"by_status": byStatus, "lost": lost, "seconds": *seconds})
}
