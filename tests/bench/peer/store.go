package main

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

var errNotFound = errors.New("not found")

type user struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

type transfer struct {
	ID     int64 `json:"id"`
	From   int64 `json:"from_account_id"`
	To     int64 `json:"to_account_id"`
	Amount int64 `json:"amount"`
}

// store is the database behind a pool of at most 25 connections, which is ledgerd's default for a worker.
type store struct{ db *sql.DB }

func openStore(url string) (*store, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(25)
	db.SetMaxIdleConns(25)
	db.SetConnMaxLifetime(5 * time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return &store{db}, db.PingContext(ctx)
}

func (s *store) user(ctx context.Context, id int64) (user, error) {
	var found user
	row := s.db.QueryRowContext(ctx, `SELECT id, name, email FROM users WHERE id = $1`, id)
	err := row.Scan(&found.ID, &found.Name, &found.Email)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotFound
	}
	return found, err
}

// post moves the amount in one transaction. The account with the smaller id is changed first, so that two transfers in
// opposite directions wait for each other instead of ending in a deadlock.
func (s *store) post(ctx context.Context, t transfer) (transfer, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return t, err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	changes := [2]struct{ account, change int64 }{{t.From, -t.Amount}, {t.To, t.Amount}}
	if t.To < t.From {
		changes[0], changes[1] = changes[1], changes[0]
	}
	for _, c := range changes {
		if _, err = tx.ExecContext(ctx, `UPDATE accounts SET balance = balance + $2 WHERE id = $1`, c.account, c.change); err != nil {
			return t, err
		}
	}
	row := tx.QueryRowContext(ctx,
		`INSERT INTO transfers (from_account_id, to_account_id, amount) VALUES ($1, $2, $3) RETURNING id`, t.From, t.To, t.Amount)
	if err = row.Scan(&t.ID); err != nil {
		return t, err
	}
	return t, tx.Commit()
}
