package store

import (
	"fmt"
	"testing"
)

// BenchmarkWrite is 10,000 messages of one record each from 64 handlers:
// go test -bench Write -benchtime 3x
func BenchmarkWrite(b *testing.B) {
	const workers, messages = 64, 10_000
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b)
		b.StartTimer()
		parallel(workers, func(w int) {
			for i := w; i < messages; i += workers {
				data := fmt.Sprintf(`{"collection":"c","records":[{"key":"k%d","doc":{"title":"a document","n":%d,"score":0.5}}]}`, i, i)
				if _, err := f.tryWrite(fmt.Sprint(i), data); err != nil {
					b.Error(err)
				}
			}
		})
		if n := f.count(`SELECT count(*) FROM records`); n != messages {
			b.Fatalf("%d records", n)
		}
	}
	b.ReportMetric(float64(b.N)*messages/b.Elapsed().Seconds(), "msg/s")
}
