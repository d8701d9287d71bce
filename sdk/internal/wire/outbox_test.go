package wire

import (
	"slices"
	"testing"
	"testing/synctest"
)

func put(o *Outbox[int], sizes ...int) {
	for _, n := range sizes {
		o.Put(Item[int]{n, n})
	}
}

func TestOutboxPacksWhatIsReadyIntoFrames(t *testing.T) {
	t.Parallel()
	const half = FrameBytes / 2
	o := NewOutbox[int]()
	put(o, 1, 2, 3, half, half, half, 5*FrameBytes, 7, FrameBytes)
	o.Close()
	put(o, 99) // too late
	want := [][]int{{1, 2, 3, half}, {half, half}, {5 * FrameBytes}, {7}, {FrameBytes}}
	for i, frame := range want {
		got, ok := o.Next(nil)
		if !ok || !slices.Equal(got, frame) {
			t.Errorf("frame %d: %v, %v; want %v", i, got, ok, frame)
		}
	}
	if got, ok := o.Next(nil); ok {
		t.Errorf("one frame too many: %v", got)
	}
}

func TestOutboxNextWaitsForAnItemOrTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := NewOutbox[int]()
		got := make(chan []int)
		go func() {
			defer close(got)
			for {
				batch, ok := o.Next(nil)
				if !ok {
					return
				}
				got <- batch
			}
		}()
		synctest.Wait()
		o.Put(Item[int]{1, 1}, Item[int]{2, 1})
		if batch := <-got; !slices.Equal(batch, []int{1, 2}) {
			t.Errorf("got %v, want both items in one frame", batch)
		}
		synctest.Wait()
		o.Discard()
		if batch, open := <-got; open {
			t.Errorf("got %v after the end", batch)
		}
	})
}
