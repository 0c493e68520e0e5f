package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** (g) Kafka Streams: one processor on both topics, a unit's state in a store. */
public class KafkaStreamsJob {
  static final String STORE = "units";
  static final long WINDOW_MS = Long.parseLong(System.getenv("BENCH_WINDOW_MS"));
  static final ObjectReader READER = new ObjectMapper().readerFor(Fact.class);

  static class Join implements Processor<String, byte[], Void, Void> {
    private final Totals totals;
    private KeyValueStore<String, Unit> store;

    Join(Totals totals) {
      this.totals = totals;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
      store = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
      Fact fact;
      try {
        fact = READER.readValue(record.value());
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
      Unit unit = store.get(record.key());
      if (unit == null) unit = new Unit();
      if (unit.take(fact, WINDOW_MS, totals)) store.put(record.key(), unit);
      totals.count();
    }
  }

  public static void main(String[] args) throws IOException {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_GROUP"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_SERVERS"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("bench-streams").toString());
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put("auto.offset.reset", "earliest");
    settings.put("max.poll.records", 5000);

    boolean memory = "memory".equals(System.getenv("BENCH_STORE"));
    Serde<Unit> serde = Serdes.serdeFrom((topic, unit) -> unit == null ? null : unit.toBytes(),
        (topic, bytes) -> bytes == null ? null : Unit.fromBytes(bytes));
    StoreBuilder<KeyValueStore<String, Unit>> store = Stores.keyValueStoreBuilder(
        memory ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE), Serdes.String(), serde);
    store = memory ? store.withLoggingDisabled() : store.withCachingEnabled();

    Totals totals = new Totals();
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(store);
    builder.stream(List.of(System.getenv("BENCH_EXPOSURES"), System.getenv("BENCH_CONVERSIONS")),
        Consumed.with(Serdes.String(), Serdes.ByteArray())).process(() -> new Join(totals), STORE);
    new KafkaStreams(builder.build(), settings).start();
  }
}
