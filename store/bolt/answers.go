package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hwangso/hwangso/store"
)

const (
	answersKept   = 256            // answers per device
	answerAge     = 24 * time.Hour // how long an answer is given again
	answerBytes   = 4 << 10        // the largest answer
	requestBytes  = 1 << 10        // the longest request identifier
	answersSwept  = 8              // answers of anybody that are too old, removed with each new one
	answerHashLen = 16             // bytes of SHA-256 of the request identifier that stand for it
)

// An answer has three rows: itself, by the request; one that orders a device's answers, so that the oldest go first;
// and one that orders all by time, so that the answers of devices that never return go too.

// PutAnswer keeps the answer to a request.
func (d *directory) PutAnswer(ctx context.Context, a store.AccountID, dev store.DeviceID, request string, ans store.Answer) error {
	if len(request) == 0 || len(request) > requestBytes {
		return store.Bad("a request identifier has 1 to 1024 bytes")
	}
	if len(ans.Body) > answerBytes {
		return &store.Error{Code: store.CodeTooLarge, Text: "the answer is too large to be kept"}
	}
	if ans.Time <= 0 {
		ans.Time = d.now().UnixMilli()
	}
	before := uint64(max(0, d.now().Add(-answerAge).UnixMilli()))
	ans.Body = bytes.Clone(ans.Body)
	return d.file.update(ctx, func(w *writeTx) error {
		if row := w.bucket(dirAccounts).Get(key64(uint64(a))); erasedRow(row) {
			return store.ErrNotFound
		}
		device := key128(uint64(a), uint64(dev))
		key := answerKey(device, request)
		answers := w.bucket(dirAnswers)
		if old := answers.Get(key); old != nil {
			if err := removeAnswer(w, key, bytes.Clone(old)); err != nil {
				return err
			}
		}
		for countPrefix(w.bucket(dirAnswerOrder).Bucket, device, answersKept) >= answersKept {
			k, hash := w.bucket(dirAnswerOrder).Cursor().Seek(device)
			if err := removeOrdered(w, bytes.Clone(k), bytes.Clone(hash)); err != nil {
				return err
			}
		}
		if err := sweepAnswers(w, before); err != nil {
			return err
		}
		number, err := answers.NextSequence()
		if err != nil {
			return err
		}
		at := key128(uint64(ans.Time), number)
		if err := w.bucket(dirAnswerOrder).put(append(bytes.Clone(device), at...), key[16:]); err != nil {
			return err
		}
		if err := w.bucket(dirAnswerTimes).put(at, key); err != nil {
			return err
		}
		return answers.put(key, appendAnswer(nil, ans, number))
	}, nil)
}

// AnswerTo returns the answer to a request that was kept at most 24 hours ago.
func (d *directory) AnswerTo(a store.AccountID, dev store.DeviceID, request string) (ans store.Answer, err error) {
	err = d.file.view(func(tx *bbolt.Tx) error {
		row := tx.Bucket(dirAnswers).Get(answerKey(key128(uint64(a), uint64(dev)), request))
		if row == nil {
			return store.ErrNotFound
		}
		ans, _, err = decodeAnswer(row)
		if err != nil {
			return corrupt(fmt.Sprintf("an answer to device %v of %v", dev, a), err)
		}
		return nil
	})
	if err != nil {
		return store.Answer{}, err
	}
	if ans.Time < d.now().Add(-answerAge).UnixMilli() {
		return store.Answer{}, store.ErrNotFound
	}
	return ans, nil
}

func answerKey(device []byte, request string) []byte {
	sum := sha256.Sum256([]byte(request))
	return append(append(make([]byte, 0, 16+answerHashLen), device...), sum[:answerHashLen]...)
}

// removeAnswer removes the three rows of an answer.
func removeAnswer(w *writeTx, key, row []byte) error {
	ans, number, err := decodeAnswer(row)
	if err != nil {
		return corrupt("an answer", err)
	}
	at := key128(uint64(ans.Time), number)
	if err := w.bucket(dirAnswerOrder).delete(append(bytes.Clone(key[:16]), at...)); err != nil {
		return err
	}
	if err := w.bucket(dirAnswerTimes).delete(at); err != nil {
		return err
	}
	return w.bucket(dirAnswers).delete(key)
}

// removeOrdered removes the three rows of an answer that was found in the device's order.
func removeOrdered(w *writeTx, ordered, hash []byte) error {
	if err := w.bucket(dirAnswerOrder).delete(ordered); err != nil {
		return err
	}
	if err := w.bucket(dirAnswerTimes).delete(ordered[16:]); err != nil {
		return err
	}
	return w.bucket(dirAnswers).delete(append(bytes.Clone(ordered[:16]), hash...))
}

// removeAnswers removes all answers of a device.
func removeAnswers(w *writeTx, device []byte) error {
	order := w.bucket(dirAnswerOrder)
	for {
		k, hash := order.Cursor().Seek(device)
		if !bytes.HasPrefix(k, device) {
			return nil
		}
		if err := removeOrdered(w, bytes.Clone(k), bytes.Clone(hash)); err != nil {
			return err
		}
	}
}

// sweepAnswers removes a few answers from before the time.
func sweepAnswers(w *writeTx, before uint64) error {
	times := w.bucket(dirAnswerTimes)
	for range answersSwept {
		at, key := times.Cursor().First()
		if at == nil || binary.BigEndian.Uint64(at) >= before {
			return nil
		}
		at, key = bytes.Clone(at), bytes.Clone(key)
		if err := removeOrdered(w, append(bytes.Clone(key[:16]), at...), key[16:]); err != nil {
			return err
		}
	}
	return nil
}

const answerVersion = 1

func appendAnswer(b []byte, ans store.Answer, number uint64) []byte {
	b = append(b, answerVersion)
	b = binary.AppendUvarint(b, number)
	b = binary.AppendUvarint(b, uint64(ans.Time))
	b = binary.AppendVarint(b, int64(ans.Status))
	b = binary.AppendUvarint(b, uint64(len(ans.Body)))
	return append(b, ans.Body...)
}

func decodeAnswer(row []byte) (ans store.Answer, number uint64, err error) {
	r := rowReader{b: row}
	r.version(answerVersion)
	number = r.uvarint()
	ans.Time = int64(r.uvarint())
	ans.Status = int(r.varint())
	ans.Body = bytes.Clone(r.bytes(r.count(1)))
	return ans, number, r.end()
}
