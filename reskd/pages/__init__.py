"""The look of all reports: one style, charts as SVG, tables, HTML pages that load nothing from elsewhere.

For other folders:
    bar_charts: Bar, bar_chart, histogram
    chart_files: ChartFile, standalone, write_charts
    html: charts, commands, document, lead, listed, MAX_PAGE_BYTES, section, table, Thumbnail, thumbnails
    line_charts: finite, legend, line_chart, Points, Reliability, reliability_chart, thinned
    matrix_chart: matrix_chart
    odd_names: in_markdown, in_picture
    style: LIGHT, matplotlib_style
    svg: axes, Chart, color_class, element, escaped, line_between, marker, path_through, picture, Scale, scale_for,
        shortened, text_at, TEXT_WIDTH
    tables: Cell, markdown_table, Table
"""
