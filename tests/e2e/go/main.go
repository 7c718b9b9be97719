// franz-go with its default settings, driven by the end-to-end tests.
//
//	client produce BOOTSTRAP TOPIC FIRST COUNT   values %06d, idempotent as by default; prints how many
//	client group BOOTSTRAP TOPIC GROUP           'partition offset value' a line, until SIGTERM
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func produce(bootstrap []string, topic string, first, count int) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(err)
	defer client.Close()
	var records []*kgo.Record
	for i := first; i < first+count; i++ {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 4), Value: []byte(fmt.Sprintf("%06d", i))})
	}
	must(client.ProduceSync(context.Background(), records...).FirstErr())
	fmt.Println(len(records))
}

func group(bootstrap []string, topic, name string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.AutoCommitInterval(200*time.Millisecond))
	must(err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	out := bufio.NewWriter(os.Stdout)
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			fmt.Fprintf(out, "%d %d %s\n", record.Partition, record.Offset, record.Value)
		})
		out.Flush()
	}
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = client.CommitUncommittedOffsets(last)
	client.Close()
}

func main() {
	arguments := os.Args[1:]
	bootstrap := strings.Split(arguments[1], ",")
	if arguments[0] == "group" {
		group(bootstrap, arguments[2], arguments[3])
		return
	}
	first, err := strconv.Atoi(arguments[3])
	must(err)
	count, err := strconv.Atoi(arguments[4])
	must(err)
	produce(bootstrap, arguments[2], first, count)
}
