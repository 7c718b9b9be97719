// The Java client with its default settings, driven by the end-to-end tests.
//
//   java -cp JARS:. Client produce BOOTSTRAP TOPIC FIRST COUNT   values %06d, idempotent as by default; prints how many
//   java -cp JARS:. Client group BOOTSTRAP TOPIC GROUP           'partition offset value' a line, until SIGTERM
//   java -cp JARS:. Client alter BOOTSTRAP TOPIC COUNT           retention.ms COUNT times, from 60000 on, then lists; prints what it finds
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.ArrayList;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("produce")) {
      produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
    } else if (args[0].equals("alter")) {
      alter(args[1], args[2], Integer.parseInt(args[3]));
    } else {
      group(args[1], args[2], args[3]);
    }
  }

  private static void change(Admin admin, ConfigResource topic, String key, String value, AlterConfigOp.OpType how)
      throws Exception {
    Collection<AlterConfigOp> changes = List.of(new AlterConfigOp(new ConfigEntry(key, value), how));
    admin.incrementalAlterConfigs(Map.of(topic, changes)).all().get();
  }

  // Each request goes to the node that has the least to do, which is any.
  private static void alter(String bootstrap, String name, int count) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
    try (Admin admin = Admin.create(settings)) {
      for (int i = 0; i < count; ++i) {
        change(admin, topic, "retention.ms", Integer.toString(60000 + i), AlterConfigOp.OpType.SET);
      }
      change(admin, topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
      change(admin, topic, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
      try {
        change(admin, topic, "retention.ms", "1", AlterConfigOp.OpType.APPEND);
      } catch (ExecutionException e) {
        System.out.println("refused " + e.getCause().getClass().getSimpleName());
      }
      Thread.sleep(500);  // until every node has heard of it
      for (String key : List.of("retention.ms", "cleanup.policy")) {
        System.out.println(key + " " + admin.describeConfigs(List.of(topic)).all().get().get(topic).get(key).value());
      }
      TopicDescription described = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
      System.out.println("isr " + described.partitions().get(0).isr().size());
      List<Integer> nodes = new ArrayList<>();
      for (Node node : admin.describeCluster().nodes().get()) nodes.add(node.id());
      long replicas = admin.describeLogDirs(nodes).allDescriptions().get().values().stream()
          .flatMap(ofNode -> ofNode.values().stream())
          .flatMap(directory -> directory.replicaInfos().entrySet().stream())
          .filter(replica -> replica.getKey().topic().equals(name) && replica.getValue().size() > 0)
          .count();
      System.out.println("replicas " + replicas);
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
