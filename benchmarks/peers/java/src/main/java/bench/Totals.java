package bench;

import java.math.BigInteger;
import java.util.Map;
import java.util.TreeMap;

/** Per variant, exactly; and the stop-watch of the run. */
public class Totals {
  private static class Sums {
    long units;
    long conversions;
    long total;
    BigInteger squares = BigInteger.ZERO;
  }

  private final Map<String, Sums> sums = new TreeMap<>();
  private final long events = Long.parseLong(System.getenv("BENCH_EVENTS"));
  private long seen;
  private long halfSeen;
  private long firstNs;
  private long halfNs;

  public synchronized void add(String experiment, Unit.Entry entry, int sign) {
    Sums found = sums.computeIfAbsent(experiment + "/" + entry.variant, key -> new Sums());
    found.units += sign;
    found.conversions += sign * entry.conversions;
    found.total += sign * entry.total;
    BigInteger square = BigInteger.valueOf(entry.total).pow(2);
    found.squares = sign > 0 ? found.squares.add(square) : found.squares.subtract(square);
  }

  public synchronized void grow(String experiment, Unit.Entry entry, long before) {
    Sums found = sums.get(experiment + "/" + entry.variant);
    long micro = entry.total - before;
    found.conversions++;
    found.total += micro;
    // after squared less before squared, without leaving exact numbers
    found.squares = found.squares.add(BigInteger.valueOf(micro).multiply(BigInteger.valueOf(entry.total + before)));
  }

  /** Counts a record; with the last one it prints the result and ends the program. */
  public synchronized void count() {
    if (seen == 0) firstNs = System.nanoTime();
    seen++;
    if (halfNs == 0 && 2 * seen >= events) {
      halfNs = System.nanoTime();
      halfSeen = seen;
    }
    if (seen >= events) report();
  }

  private void report() {
    long now = System.nanoTime();
    StringBuilder line = new StringBuilder();
    line.append("{\"events\":").append(seen).append(",\"seconds\":").append((now - firstNs) / 1e9);
    line.append(",\"half_events\":").append(seen - halfSeen);
    line.append(",\"half_seconds\":").append((now - halfNs) / 1e9).append(",\"result\":{");
    String comma = "";
    for (Map.Entry<String, Sums> each : sums.entrySet()) {
      Sums found = each.getValue();
      line.append(comma).append('"').append(each.getKey()).append("\":[").append(found.units).append(',');
      line.append(found.conversions).append(',').append(found.total).append(',').append(found.squares).append(']');
      comma = ",";
    }
    System.out.println(line.append("}}"));
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }
}
