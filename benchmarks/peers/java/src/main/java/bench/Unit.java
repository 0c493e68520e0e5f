package bench;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;

/** What is known of one unit: its first exposure per experiment, its conversions by event id. */
public class Unit {
  /** A unit in an experiment. */
  public static class Entry {
    public long atMs;
    public String variant;
    public boolean crossed;
    public long conversions;
    public long total;
  }

  /** When, and for how many micro-units. */
  public static class Bought {
    public long atMs;
    public long micro;
  }

  public Map<String, Entry> entries = new HashMap<>();
  public Map<String, Bought> bought = new HashMap<>();

  /** Takes a fact in and tells the totals what changes. Returns whether this unit did. */
  public boolean take(Fact fact, long windowMs, Totals totals) {
    return fact.type.equals("exposure") ? expose(fact, windowMs, totals) : convert(fact, windowMs, totals);
  }

  private boolean expose(Fact fact, long windowMs, Totals totals) {
    Entry known = entries.get(fact.experiment_id);
    if (known != null) {
      if (known.crossed) return false;
      if (!known.variant.equals(fact.variant)) {
        totals.add(fact.experiment_id, known, -1);
        known.crossed = true;
        return true;
      }
      if (fact.occurred_at_ms >= known.atMs) return false;
      totals.add(fact.experiment_id, known, -1);
    }
    Entry entry = new Entry();
    entry.atMs = fact.occurred_at_ms;
    entry.variant = fact.variant;
    for (Bought each : bought.values()) count(entry, each, windowMs);
    entries.put(fact.experiment_id, entry);
    totals.add(fact.experiment_id, entry, 1);
    return true;
  }

  private boolean convert(Fact fact, long windowMs, Totals totals) {
    if (bought.containsKey(fact.event_id)) return false;
    Bought one = new Bought();
    one.atMs = fact.occurred_at_ms;
    one.micro = Math.round(fact.value * 1_000_000);
    bought.put(fact.event_id, one);
    for (Map.Entry<String, Entry> each : entries.entrySet()) {
      Entry entry = each.getValue();
      if (entry.crossed) continue;
      long before = entry.total;
      if (count(entry, one, windowMs)) totals.grow(each.getKey(), entry, before);
    }
    return true;
  }

  private static boolean count(Entry entry, Bought one, long windowMs) {
    long elapsedMs = one.atMs - entry.atMs;
    if (elapsedMs < 0 || elapsedMs > windowMs) return false;
    entry.conversions++;
    entry.total += one.micro;
    return true;
  }

  /** A compact binary form. */
  public byte[] toBytes() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      out.writeInt(entries.size());
      for (Map.Entry<String, Entry> each : entries.entrySet()) {
        Entry entry = each.getValue();
        out.writeUTF(each.getKey());
        out.writeLong(entry.atMs);
        out.writeUTF(entry.variant);
        out.writeBoolean(entry.crossed);
        out.writeLong(entry.conversions);
        out.writeLong(entry.total);
      }
      out.writeInt(bought.size());
      for (Map.Entry<String, Bought> each : bought.entrySet()) {
        out.writeUTF(each.getKey());
        out.writeLong(each.getValue().atMs);
        out.writeLong(each.getValue().micro);
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return bytes.toByteArray();
  }

  public static Unit fromBytes(byte[] bytes) {
    Unit unit = new Unit();
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
      for (int left = in.readInt(); left > 0; left--) {
        String experiment = in.readUTF();
        Entry entry = new Entry();
        entry.atMs = in.readLong();
        entry.variant = in.readUTF();
        entry.crossed = in.readBoolean();
        entry.conversions = in.readLong();
        entry.total = in.readLong();
        unit.entries.put(experiment, entry);
      }
      for (int left = in.readInt(); left > 0; left--) {
        String eventId = in.readUTF();
        Bought one = new Bought();
        one.atMs = in.readLong();
        one.micro = in.readLong();
        unit.bought.put(eventId, one);
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return unit;
  }
}
