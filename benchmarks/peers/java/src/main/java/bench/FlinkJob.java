package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/** (h) Flink: both topics keyed by unit, state on the heap, a checkpoint every 5 s. */
public class FlinkJob {
  static final long CHECKPOINT_MS = 5_000;

  /** One to a task manager, as the job runs with parallelism 1. */
  static class Shared {
    static final Totals TOTALS = new Totals();
    static final long WINDOW_MS = Long.parseLong(System.getenv("BENCH_WINDOW_MS"));
  }

  static class Facts extends AbstractDeserializationSchema<Fact> {
    private transient ObjectReader reader;

    @Override
    public void open(InitializationContext context) {
      reader = new ObjectMapper().readerFor(Fact.class);
    }

    @Override
    public Fact deserialize(byte[] bytes) throws IOException {
      return reader.readValue(bytes);
    }
  }

  static class Join extends KeyedProcessFunction<String, Fact, Boolean> {
    private transient ValueState<Unit> state;

    @Override
    public void open(Configuration parameters) {
      TypeInformation<Unit> type = Types.POJO(Unit.class, Map.of(
          "entries", Types.MAP(Types.STRING, Types.POJO(Unit.Entry.class)),
          "bought", Types.MAP(Types.STRING, Types.POJO(Unit.Bought.class))));
      state = getRuntimeContext().getState(new ValueStateDescriptor<>("unit", type));
    }

    @Override
    public void processElement(Fact fact, Context context, Collector<Boolean> out) throws IOException {
      Unit unit = state.value();
      if (unit == null) unit = new Unit();
      if (unit.take(fact, Shared.WINDOW_MS, Shared.TOTALS)) state.update(unit);
      Shared.TOTALS.count();
    }
  }

  public static void main(String[] args) throws Exception {
    Configuration settings = new Configuration();
    settings.set(RestOptions.BIND_PORT, "0");
    settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, Files.createTempDirectory("bench-flink").toUri().toString());
    settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(16));
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, settings);
    environment.enableCheckpointing(CHECKPOINT_MS);
    environment.getConfig().enableObjectReuse();
    KafkaSource<Fact> source = KafkaSource.<Fact>builder()
        .setBootstrapServers(System.getenv("BENCH_SERVERS"))
        .setTopics(System.getenv("BENCH_EXPOSURES"), System.getenv("BENCH_CONVERSIONS"))
        .setGroupId(System.getenv("BENCH_GROUP"))
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setValueOnlyDeserializer(new Facts())
        .build();
    environment.fromSource(source, WatermarkStrategy.noWatermarks(), "facts")
        .keyBy(fact -> fact.unit_id)
        .process(new Join())
        .sinkTo(new DiscardingSink<>());
    environment.execute("bench");
  }
}
