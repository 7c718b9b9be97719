// The Java client with its default settings, driven by the end-to-end tests.
//
//   java -cp JARS:. Client produce BOOTSTRAP TOPIC FIRST COUNT   values %06d, idempotent as by default; prints how many
//   java -cp JARS:. Client group BOOTSTRAP TOPIC GROUP           'partition offset value' a line, until SIGTERM
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.ArrayList;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("produce")) {
      produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
    } else {
      group(args[1], args[2], args[3]);
    }
  }

  private static void produce(String bootstrap, String topic, int first, int count) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    try (KafkaProducer<String, String> producer =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (int i = first; i < first + count; ++i) {
        sent.add(producer.send(new ProducerRecord<>(topic, i % 4, null, String.format("%06d", i))));
      }
      for (Future<RecordMetadata> each : sent) each.get();
      System.out.println(sent.size());
    }
  }

  private static void group(String bootstrap, String topic, String group) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("group.id", group);
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", "false");
    settings.put("session.timeout.ms", "6000");
    settings.put("heartbeat.interval.ms", "500");
    settings.put("metadata.max.age.ms", "1000");
    settings.put("fetch.max.wait.ms", "100");
    KafkaConsumer<String, String> consumer =
        new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    Thread main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      consumer.wakeup();
      try {
        main.join(10000);
      } catch (InterruptedException ignored) {
        // the process ends either way
      }
    }));
    consumer.subscribe(List.of(topic));
    try {
      while (true) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
          System.out.println(record.partition() + " " + record.offset() + " " + record.value());
        }
        System.out.flush();
        try {
          consumer.commitSync();
        } catch (CommitFailedException | RebalanceInProgressException | RetriableException e) {
          // a rebalance: the next owner begins where the last commit was
        }
      }
    } catch (WakeupException ended) {
      consumer.close();
    }
  }
}
