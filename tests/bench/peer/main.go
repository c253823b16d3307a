// peer is the program that ledgerd is measured against: users and transfers over HTTP on PostgreSQL as a Go developer writes
// them plainly, with net/http, database/sql and pgx. A transfer is one transaction of two updates and an insert, a read is one
// query. It checks nothing and keeps nothing: no authentication, no idempotency, no limits on a balance, no log, no cache.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	requestTimeout = 30 * time.Second
	users          = "/api/users/"
)

// api serves the two routes that are measured.
type api struct{ store *store }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, users) && r.Method == http.MethodGet:
		a.readUser(w, r, strings.TrimPrefix(r.URL.Path, users))
	case r.URL.Path == "/api/transfers" && r.Method == http.MethodPost:
		a.createTransfer(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (a *api) readUser(w http.ResponseWriter, r *http.Request, text string) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		http.Error(w, "the id of a user is an integer", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	found, err := a.store.user(ctx, id)
	answer(w, http.StatusOK, found, err)
}

func (a *api) createTransfer(w http.ResponseWriter, r *http.Request) {
	var wanted transfer
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		http.Error(w, "the body is no transfer", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	posted, err := a.store.post(ctx, wanted)
	answer(w, http.StatusCreated, posted, err)
}

// answer writes a value as JSON, or what the error means.
func answer(w http.ResponseWriter, status int, value any, err error) {
	if err != nil {
		status = http.StatusInternalServerError
		if errors.Is(err, errNotFound) {
			status = http.StatusNotFound
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func main() {
	url := flag.String("database", "", "connection string of the database")
	address := flag.String("address", "127.0.0.1:8090", "where to listen")
	flag.Parse()
	store, err := openStore(*url)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *address, Handler: &api{store}, ReadHeaderTimeout: requestTimeout}
	stop, done := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer done()
	go func() {
		<-stop.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
