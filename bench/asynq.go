package main

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynqQueue is asynq with the handler inside the process. Its results go to a
// stream by the handler itself, since asynq has none.
type asynqQueue struct{}

const (
	asynqConcurrency = 128
	asynqPublishers  = 64
)

func (asynqQueue) Name() string { return "asynq" }

func (asynqQueue) What() string {
	return "asynq server, concurrency " + strconv.Itoa(asynqConcurrency) + ", handler in process, which adds the result itself"
}

// Publish enqueues by asynq's own client, which knows no batches, on several
// connections.
func (asynqQueue) Publish(ctx context.Context, rdb *redis.Client, payload string, n int) ([]string, error) {
	queue := asynq.NewClientFromRedisClient(rdb)
	keys := make([]string, n)
	workers := min(n, asynqPublishers)
	errs := make([]error, workers)
	var publishing sync.WaitGroup
	for w := range workers {
		publishing.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				var info *asynq.TaskInfo
				if info, errs[w] = queue.EnqueueContext(ctx, asynq.NewTask("echo", []byte(payload))); errs[w] == nil {
					keys[i] = info.ID
				}
			}
		})
	}
	publishing.Wait()
	return keys, errors.Join(errs...)
}

func (a asynqQueue) Commands(s Site) ([]*exec.Cmd, error) { return self(s, a.Name()), nil }

func (asynqQueue) Results() []string { return []string{resultsKey} }
func (asynqQueue) KeyField() string  { return "id" }

// run works until ctx ends.
func (asynqQueue) run(ctx context.Context, addr string, purpose Purpose) error {
	rdb := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 2 * asynqConcurrency})
	defer rdb.Close()
	config := asynq.Config{Concurrency: asynqConcurrency, LogLevel: asynq.ErrorLevel}
	if purpose == Latency {
		config.TaskCheckInterval = 5 * time.Millisecond // it polls; every second by default
	}
	server := asynq.NewServerFromRedisClient(rdb, config)
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		return rdb.Do(ctx, "XADD", resultsKey, "*", "id", t.ResultWriter().TaskID(), "data", t.Payload()).Err()
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}
