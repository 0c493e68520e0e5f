package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

/** An exposure or a conversion, as it stands in the log. */
@JsonIgnoreProperties(ignoreUnknown = true)
public class Fact {
  public String type;
  public String event_id;
  public long occurred_at_ms;
  public String unit_id;
  public String experiment_id;
  public String variant;
  public double value;
}
