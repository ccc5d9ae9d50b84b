// What a dashboard of ours may look like, in the types that Grafana generates from its own schema:
// the model of dashboards, and for each kind of panel its options and the custom part of its fields.
// The tests assign every dashboard's JSON to `Board`, so that the compiler finds what Grafana does not
// know: a property, a word, a missing field. Queries of Prometheus are not part of that package; their
// fields are listed here.

import type {
  AnnotationQuery, Dashboard, DataSourceRef, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel,
} from '@grafana/schema';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as gauge from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** In JSON, a member of an enumeration is its text or number. */
type Json<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer E)[] ? Json<E>[]
  : { [K in keyof T]: Json<T[K]> };

/** What may be left out is what Grafana has a default for. */
type Lax<T> = T extends unknown[] | string | number | boolean ? T : { [K in keyof T]?: Lax<T[K]> };

interface PromQuery {
  datasource: DataSourceRef;
  expr: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  legendFormat?: string;
  range: boolean;
  refId: string;
}

/** Grafana's own type takes anything beside what the panel knows. */
interface Fields<Custom> extends Omit<FieldConfigSource, 'defaults'> {
  defaults: Omit<FieldConfig, 'custom'> & { custom?: Lax<Custom> };
}

type Kind<Type, Options, Custom = Record<string, never>> =
  Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
    type: Type;
    targets: PromQuery[];
    fieldConfig: Fields<Custom>;
    options: Lax<Options>;
  };

type AnyPanel =
  | Kind<'bargauge', bargauge.Options>
  | Kind<'gauge', gauge.Options>
  | Kind<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Kind<'stat', stat.Options>
  | Kind<'state-timeline', timeline.Options, timeline.FieldConfig>
  | Kind<'table', table.Options, table.FieldConfig>
  | Kind<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Omit<Panel, 'type' | 'options' | 'fieldConfig'> & { type: 'text'; options: text.Options }
  | RowPanel;

/** Prometheus reads a query of its own, and templates for what is shown. */
interface PromAnnotation extends AnnotationQuery {
  target?: { expr: string; interval: string; refId: string };
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
}

/** Grafana keeps the query of a variable as people see it, too. */
interface PromVariable extends VariableModel {
  definition?: string;
}

export type Board = Json<Omit<Dashboard, 'annotations' | 'panels' | 'templating'> & {
  annotations: { list: PromAnnotation[] };
  panels: AnyPanel[];
  templating: { list: PromVariable[] };
}>;

// The types find mistakes: without an error in the next line, each of these is one.
// @ts-expect-error
export const unknown: Partial<Board> = { schemaVersion: 39, tiitle: '' };
// @ts-expect-error
export const word: Json<Kind<'stat', stat.Options>>['options'] = { graphMode: 'aera' };
// @ts-expect-error
export const deep: Json<Fields<timeseries.FieldConfig>>['defaults'] = { custom: { showPoint: 'never' } };
// @ts-expect-error
export const missing: Board['templating'] = { list: [{ type: 'query' }] };
